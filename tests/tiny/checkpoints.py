"""Real diffusers classes at toy width, written to a folder on the spot: no downloads, well under a second each."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AsymmetricAutoencoderKL,
    AutoencoderDC,
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SanaPipeline,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Gemma2Config,
    Gemma2Model,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode

WORDS = [
    "a",
    "an",
    "the",
    "photo",
    "of",
    "cat",
    "dog",
    "house",
    "red",
    "blue",
    "green",
    "in",
    "on",
    "and",
    "sky",
    "sea",
]


def tokenizer(length: int = 77, pad: str = "<|endoftext|>") -> CLIPTokenizer:
    """CLIP's byte-pair tokenizer over a handful of words; all else falls into letters."""
    letters = list(bytes_to_unicode().values())
    vocabulary, merges = letters + [each + "</w>" for each in letters], []
    for word in WORDS:
        left, *rest = [*word[:-1], word[-1] + "</w>"]
        for piece in rest:
            merges.append((left, piece))
            left += piece
            vocabulary.append(left)
    ends = ["<|startoftext|>", "<|endoftext|>"]
    known = {token: i for i, token in enumerate(dict.fromkeys(vocabulary + ends))}
    return CLIPTokenizer(vocab=known, merges=list(dict.fromkeys(merges)), pad_token=pad, model_max_length=length)


def text_encoder(words: CLIPTokenizer, width: int = 32, projects: bool = False) -> CLIPTextModel:
    return (CLIPTextModelWithProjection if projects else CLIPTextModel)(
        CLIPTextConfig(
            vocab_size=len(words), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=words.model_max_length, bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
            projection_dim=width,
        )
    )  # fmt: skip


def whole_words(begin: str | None = None, length: int = 300) -> PreTrainedTokenizerFast:
    """A tokenizer that knows a handful of words whole; stands in for those of T5 and Gemma."""
    marks = ["<pad>", "</s>", "<unk>", *([begin] if begin else [])]
    known = Tokenizer(models.WordLevel({word: i for i, word in enumerate(marks + WORDS)}, unk_token="<unk>"))
    known.normalizer = normalizers.Lowercase()
    known.pre_tokenizer = pre_tokenizers.Whitespace()
    known.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A" if begin else "$A </s>",
        special_tokens=[(mark, known.token_to_id(mark)) for mark in ([begin] if begin else ["</s>"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=known, bos_token=begin, eos_token="</s>", pad_token="<pad>", unk_token="<unk>", model_max_length=length
    )  # fmt: skip


def t5(words: PreTrainedTokenizerFast, width: int) -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(
            vocab_size=len(words), d_model=width, d_kv=8, d_ff=64, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu",
            pad_token_id=words.pad_token_id, eos_token_id=words.eos_token_id,
        )
    ).eval()  # fmt: skip


def autoencoder(channels: int = 4, **settings: Any) -> AutoencoderKL:
    return AutoencoderKL(
        **settings,
        block_out_channels=(8, 16), latent_channels=channels, norm_num_groups=4, sample_size=64, mid_block_add_attention=False,
        down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
    )  # fmt: skip


def asymmetric_autoencoder() -> AsymmetricAutoencoderKL:
    """An autoencoder whose decoder reads the picture it repaints a part of."""
    return AsymmetricAutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 2, down_block_out_channels=(8, 16),
        up_block_types=["UpDecoderBlock2D"] * 2, up_block_out_channels=(8, 16), norm_num_groups=4,
    )  # fmt: skip


def unet(channels: int = 4, text_width: int = 32, inpaints: bool = False) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        block_out_channels=(32, 64), layers_per_block=1, sample_size=32, in_channels=2 * channels + 1 if inpaints else channels, out_channels=channels,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=text_width, attention_head_dim=8, norm_num_groups=8,
    )  # fmt: skip


def stable_diffusion(
    folder: Path,
    seed: int = 0,
    prediction: str = "epsilon",
    inpaints: bool = False,
    asymmetric: bool = False,
    **scheduler: Any,
) -> StableDiffusionPipeline:
    """A Stable Diffusion checkpoint of random weights, saved in `folder`; returns diffusers' own pipeline for it.

    `inpaints` makes its network one of nine channels, `asymmetric` its autoencoder one that keeps what is not masked.
    """
    torch.manual_seed(seed)
    words = tokenizer()
    settings = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "steps_offset": 1,
    }
    pipe = (StableDiffusionInpaintPipeline if inpaints else StableDiffusionPipeline)(
        vae=(asymmetric_autoencoder() if asymmetric else autoencoder()).eval(), text_encoder=text_encoder(words).eval(),
        tokenizer=words, unet=unet(inpaints=inpaints).eval(),
        scheduler=DDIMScheduler(**settings, set_alpha_to_one=True, prediction_type=prediction, **scheduler),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(folder)
    return pipe


def sdxl(
    folder: Path, seed: int = 0, refines: bool = False, middle: bool = True, inpaints: bool = False, **scheduler: Any
) -> StableDiffusionXLPipeline:
    """An SDXL checkpoint; `refines` makes it the refiner, `middle=False` a network without middle as KOALA has."""
    torch.manual_seed(seed)
    first, second = tokenizer(), tokenizer(pad="!")
    texts = {
        "text_encoder": None if refines else text_encoder(first).eval(),
        "tokenizer": None if refines else first,
        "text_encoder_2": text_encoder(second, projects=True).eval(),
        "tokenizer_2": second,
    }
    net = UNet2DConditionModel(
        block_out_channels=(32, 64), layers_per_block=1, sample_size=32, in_channels=9 if inpaints else 4, out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        mid_block_type="UNetMidBlock2DCrossAttn" if middle else None, cross_attention_dim=32 if refines else 64,
        attention_head_dim=(2, 4), use_linear_projection=True, transformer_layers_per_block=(1, 2), norm_num_groups=8,
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=(5 if refines else 6) * 8 + 32,
    )  # fmt: skip
    settings = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "steps_offset": 1,
        "timestep_spacing": "leading",
    }
    pipe = (StableDiffusionXLImg2ImgPipeline if refines else StableDiffusionXLPipeline)(
        vae=autoencoder(scaling_factor=0.13025).eval(), unet=net.eval(), add_watermarker=False, **texts,
        scheduler=EulerDiscreteScheduler(**settings | scheduler), **({"requires_aesthetics_score": True} if refines else {}),
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(folder)
    return pipe


def sd3(folder: Path, seed: int = 0, with_t5: bool = True, **scheduler: Any) -> StableDiffusion3Pipeline:
    """A Stable Diffusion 3 checkpoint, with or without T5."""
    torch.manual_seed(seed)
    first, second, third = tokenizer(), tokenizer(pad="!"), whole_words()
    net = SD3Transformer2DModel(
        sample_size=32, patch_size=2, in_channels=16, out_channels=16, num_layers=2, attention_head_dim=8, num_attention_heads=4,
        joint_attention_dim=64, caption_projection_dim=32, pooled_projection_dim=64, pos_embed_max_size=64,
    )  # fmt: skip
    pipe = StableDiffusion3Pipeline(
        transformer=net.eval(), scheduler=FlowMatchEulerDiscreteScheduler(**{"shift": 3.0} | scheduler),
        vae=autoencoder(16, scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False).eval(),
        text_encoder=text_encoder(first, projects=True).eval(), tokenizer=first,
        text_encoder_2=text_encoder(second, projects=True).eval(), tokenizer_2=second,
        text_encoder_3=t5(third, 64) if with_t5 else None, tokenizer_3=third if with_t5 else None,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(folder)
    return pipe


def flux(folder: Path, seed: int = 0, guided: bool = True) -> FluxPipeline:
    """A FLUX.1 checkpoint: dev, which reads a guidance scale and shifts by size, or schnell."""
    torch.manual_seed(seed)
    first, second = tokenizer(), whole_words(length=512)
    net = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8), guidance_embeds=guided,
    )  # fmt: skip
    settings = {"shift": 3.0, "use_dynamic_shifting": True} if guided else {"shift": 1.0}
    settings |= {"base_image_seq_len": 64, "max_image_seq_len": 256}
    pipe = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**settings), transformer=net.eval(),
        vae=autoencoder(4, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False).eval(),
        text_encoder=text_encoder(first).eval(), tokenizer=first, text_encoder_2=t5(second, 32), tokenizer_2=second,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(folder)
    return pipe


def sana(folder: Path, seed: int = 0, solver: bool = True) -> SanaPipeline:
    """A Sana checkpoint; `solver` names DPM-Solver++ on the flow in its settings, as the published ones do."""
    torch.manual_seed(seed)
    words = whole_words("<bos>")
    reader = Gemma2Model(
        Gemma2Config(
            vocab_size=len(words), hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
            head_dim=16, max_position_embeddings=1024, pad_token_id=words.pad_token_id, bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id,
        )
    )  # fmt: skip
    net = SanaTransformer2DModel(
        patch_size=1, in_channels=4, out_channels=4, num_layers=2, num_attention_heads=2, attention_head_dim=4, sample_size=16,
        num_cross_attention_heads=2, cross_attention_head_dim=4, cross_attention_dim=8, caption_channels=8,
    )  # fmt: skip
    coder = AutoencoderDC(
        in_channels=3, latent_channels=4, attention_head_dim=2, encoder_block_out_channels=(8, 8, 8), decoder_block_out_channels=(8, 8, 8),
        encoder_block_types=("ResBlock", "ResBlock", "EfficientViTBlock"), decoder_block_types=("ResBlock", "ResBlock", "EfficientViTBlock"),
        encoder_qkv_multiscales=((), (), (5,)), decoder_qkv_multiscales=((), (), (5,)), encoder_layers_per_block=(1, 1, 1), decoder_layers_per_block=(1, 1, 1),
        downsample_block_type="conv", upsample_block_type="interpolate", decoder_norm_types="rms_norm", decoder_act_fns="silu", scaling_factor=0.41407,
    )  # fmt: skip
    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
    pipe = SanaPipeline(
        tokenizer=words, text_encoder=reader.eval(), vae=coder.eval(), transformer=net.eval(),
        scheduler=DPMSolverMultistepScheduler(**flow) if solver else FlowMatchEulerDiscreteScheduler(shift=3.0),
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(folder)
    return pipe


def z_image(folder: Path, seed: int = 0) -> ZImagePipeline:
    """A checkpoint of a family that has no predictor here."""
    torch.manual_seed(seed)
    words = whole_words()
    words.chat_template = "{{ messages[0].content }}"
    reader = Qwen3Model(
        Qwen3Config(
            vocab_size=len(words), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
            head_dim=8, max_position_embeddings=1024, pad_token_id=words.pad_token_id, eos_token_id=words.eos_token_id,
        )
    )  # fmt: skip
    net = ZImageTransformer2DModel(
        in_channels=4, dim=32, n_layers=1, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=16, axes_dims=[4, 6, 6], axes_lens=[1024, 64, 64]
    )  # fmt: skip
    torch.nn.init.normal_(net.x_pad_token)
    torch.nn.init.normal_(net.cap_pad_token)
    pipe = ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), vae=autoencoder(4, scaling_factor=0.3611, shift_factor=0.1159).eval(),
        text_encoder=reader.eval(), tokenizer=words, transformer=net.eval(),
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(folder)
    return pipe


FAMILIES = {"stable_diffusion": stable_diffusion, "sdxl": sdxl, "sd3": sd3, "flux": flux, "sana": sana}
