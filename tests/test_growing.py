"""A deeper painter begins as what the shallower one knows, and what was added can learn."""

from dataclasses import replace

import pytest
import torch

from pipelines.training import painter
from pipelines.training.growing import deepened

TOY = replace(painter.SIZES["toy"], widths=(16, 32, 32), heads=(1, 2, 2), layers=(1, 1, 1))


def made(layers: tuple[int, ...], everywhere: bool = True):
    torch.manual_seed(sum(layers))
    return painter.make_unet(replace(TOY, layers=layers, everywhere=everywhere)).eval()


def seen(net: torch.nn.Module) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    x, states = torch.randn(2, 32, 8, 8, generator=generator), torch.randn(2, 48, 32, generator=generator)
    with torch.no_grad():
        return net(x, torch.tensor([20, 800]), states).sample


@pytest.mark.parametrize(("few", "many"), [((1, 1, 1), (1, 2, 3)), ((1, 1, 1), (3, 2, 1)), ((2, 2, 2), (2, 4, 3))])
def test_a_deeper_painter_begins_as_the_shallower_one(few, many):
    small, large = made(few), made(many)
    assert not torch.allclose(seen(small), seen(large), atol=1e-3)
    large.load_state_dict(deepened(small.state_dict(), large))
    torch.testing.assert_close(seen(large), seen(small))


def test_what_was_added_learns():
    small, large = made((1, 1, 1)), made((1, 2, 2))
    large.load_state_dict(deepened(small.state_dict(), large))
    states = torch.randn(2, 48, 32)
    large(torch.randn(2, 32, 8, 8), torch.tensor([20, 800]), states).sample.square().mean().backward()
    added = (
        large.down_blocks[1].resnets[1].conv2,
        large.down_blocks[1].attentions[1].proj_out,
        large.up_blocks[0].resnets[1].conv2,
    )
    assert all(float(each.weight.grad.abs().max()) > 0 for each in added)


def test_layers_that_the_new_one_lacks_are_left_out_and_other_widths_are_refused():
    bare = made((1, 1, 1), everywhere=False)
    bare.load_state_dict(deepened(made((1, 1, 1)).state_dict(), bare))
    with pytest.raises(RuntimeError, match="can only grow"):
        deepened(made((1, 2, 1)).state_dict(), made((1, 1, 1)))
    other = painter.make_unet(replace(TOY, widths=(32, 32, 32)))
    with pytest.raises(RuntimeError, match="size mismatch"):
        other.load_state_dict(deepened(made((1, 1, 1)).state_dict(), other))
