"""The painter: a UNet on latents and the text encoder it learns with. Knows the objective, not its examples.

v-prediction (Salimans and Ho 2022, arXiv:2202.00512), every noise level weighted alike. Min-SNR weights (Hang et al.
2023, arXiv:2303.09556) were tried first: for v they fall as the SNR does, to 0.03 at sigma 6, and after 80,000 pictures
backdrops followed the words and things did not, because what is what is decided at those levels.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from pipelines.training.linear_code import CHANNELS

DROPPED = 0.1  # share of examples learned without their sentence, for guidance


@dataclass(frozen=True)
class Size:
    """How large a painter is."""

    widths: tuple[int, ...] = (96, 192)
    heads: tuple[int, ...] = (3, 6)
    layers: tuple[int, ...] = (1, 1)  # of each level on the way down; one more on the way up
    text_width: int = 192
    text_layers: int = 2
    everywhere: bool = (
        True  # whether all blocks but the outermost attend, or the middle alone, which takes a third less
    )


POCKET = Size()
SMALL = Size((48, 96), (3, 3), everywhere=False)
SIZES = {
    "pocket": POCKET,
    "deep": Size(layers=(2, 2)),
    "small": SMALL,
    "toy": Size((16, 32), (1, 2), (1, 1), 32, 1),
}


class Painter(nn.Module):
    """UNet and text encoder as one network to train."""

    def __init__(self, unet: UNet2DConditionModel, text: CLIPTextModel) -> None:
        super().__init__()
        self.unet, self.text = unet, text

    def forward(self, x: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """The v (B, 32, h, w) in noised latents x for token numbers (B, LENGTH)."""
        states = self.text(tokens).last_hidden_state
        return torch.as_tensor(self.unet(x, timesteps, states).sample).float()


def make_unet(size: Size = POCKET) -> UNet2DConditionModel:
    """An untrained UNet: convolutions at the finest level, attention to itself and to the words below it. The sentence
    as a whole reaches every block by way of the time embedding, which at first it leaves as it is."""
    levels, attending = len(size.widths) - 1, "CrossAttn" if size.everywhere else ""
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=size.widths,
        layers_per_block=size.layers,
        down_block_types=("DownBlock2D", *[f"{attending}DownBlock2D"] * levels),
        up_block_types=(*[f"{attending}UpBlock2D"] * levels, "UpBlock2D"),
        attention_head_dim=size.heads,  # diffusers reads this as the number of heads
        cross_attention_dim=size.text_width,
        norm_num_groups=16,
        addition_embed_type="text",
        addition_embed_type_num_heads=size.text_width // 32,
    )
    nn.init.zeros_(unet.add_embedding.norm2.weight)
    return unet


def make_text(tokenizer: CLIPTokenizer, size: Size = POCKET) -> CLIPTextModel:
    """An untrained text encoder for the tokenizer."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=size.text_width,
            intermediate_size=4 * size.text_width,
            num_hidden_layers=size.text_layers,
            num_attention_heads=size.text_width // 32,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            projection_dim=size.text_width,
        )
    )


def make_scheduler() -> DDIMScheduler:
    """The noise schedule. It ends at sigma 65, not 15: a plain background is as large as the picture, and at 15 its
    colour would still show through the noise that sampling starts from."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.02,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def tokenize(tokenizer: Any, sentences: list[str]) -> Tensor:
    """Token numbers (B, LENGTH), padded and cut as diffusers' pipeline does it."""
    return torch.as_tensor(tokenizer(sentences, padding="max_length", truncation=True, return_tensors="pt").input_ids)


@dataclass(frozen=True)
class Noising:
    """Latents carried to random times of the schedule, with what is to be found in them."""

    x: Tensor
    timesteps: Tensor
    v: Tensor


def noised(latents: Tensor, alphas: Tensor, generator: torch.Generator) -> Noising:
    """Noise each of the latents to a time of its own, the times spread evenly over the batch."""
    count = len(latents)
    spread = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    timesteps = (spread * len(alphas)).long().clamp(max=len(alphas) - 1)
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    alpha = alphas[timesteps].view(-1, 1, 1, 1).to(latents)  # cumulative product, Ho et al. 2020
    x = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
    v = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
    return Noising(x, timesteps.to(latents.device), v)


def drop_sentences(sentences: list[str], generator: torch.Generator) -> list[str]:
    """The sentences with about one in ten left empty."""
    kept = torch.rand(len(sentences), generator=generator) >= DROPPED
    return [sentence if keep else "" for sentence, keep in zip(sentences, kept.tolist(), strict=True)]


def answered(given: Noising, elder: Any, tokens: Tensor) -> Noising:
    """The same with an elder's answers in place of the true v. Hinton et al. 2015 (arXiv:1503.02531): an answer is the
    mean of all that the noise may hide, so that a smaller net learns from fewer examples."""
    with torch.no_grad():
        return replace(given, v=elder(given.x, given.timesteps, tokens))


def painter_loss(painter: Any, given: Noising, tokens: Tensor, where: Tensor | None = None) -> Tensor:
    """The squared error of v on one batch; `where` (B, 1, h, w) says what each place counts, all alike if not given."""
    error = (painter(given.x, given.timesteps, tokens) - given.v).square().mean(1, keepdim=True)
    return torch.mean(error) if where is None else torch.sum(error * where) / torch.sum(where)
