"""Vision transformers with one class token for each class, on timm's blocks; keys are timm's and DeiT's."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from timm.layers import LayerNorm, PatchEmbed, trunc_normal_
from timm.models.vision_transformer import Attention, Block, init_weights_vit_timm
from torch import Tensor, nn

from wsss.nets.backbones import load_pretrained

UNUSED = ("norm.", "head.")  # DeiT's last norm and its ImageNet classifier: no class token and no map passes them


class ClassTokenViT(nn.Module):
    """image (B, 3, H, W) -> (class tokens (B, C, d), attention (layers, B, C + P, C + P) or None, patch map (B, d, h, w)).

    h, w = H // patch, W // patch, at least 1: what is left over at the bottom and right is not seen, and an image smaller
    than a patch is stretched to one. Attention is averaged over heads, float32, its rows sum to 1. There is no last norm.
    Random initial values come from torch's global generator, which the caller seeds.

    `grid`: cells a side that the position embeddings are for (14 = 224 / 16). On any other they are stretched, bicubic:
    by the factor (cells + position_offset) / grid, as released with 0.1, or with 0 to the size itself.
    """

    def __init__(
        self,
        tokens: int,
        patch: int = 16,
        dim: int = 384,
        depth: int = 12,
        heads: int = 6,
        grid: int = 14,
        drop_path: float = 0.1,
        position_offset: float = 0.1,
    ) -> None:
        super().__init__()
        self.patch, self.grid, self.position_offset = patch, grid, position_offset
        self.patch_embed = PatchEmbed(img_size=None, patch_size=patch, embed_dim=dim)
        self.cls_token = nn.Parameter(torch.zeros(1, tokens, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens + grid * grid, dim))
        rates = torch.linspace(0, drop_path, depth).tolist()
        self.blocks = nn.ModuleList(
            Block(dim, heads, qkv_bias=True, drop_path=rate, norm_layer=LayerNorm) for rate in rates
        )
        trunc_normal_(self.cls_token, std=0.02)
        trunc_normal_(self.pos_embed, std=0.02)
        self.blocks.apply(init_weights_vit_timm)
        self.out_channels = [dim]

    def forward(self, image: Tensor, attention: bool = False) -> tuple[Tensor, Tensor | None, Tensor]:
        image = self.at_least_a_patch(image)
        h, w = (side // self.patch for side in image.shape[-2:])
        classes = self.cls_token.shape[1]
        x = torch.cat([self.cls_token.expand(len(image), -1, -1), self.patch_embed(image)], dim=1)
        x, weights = x + self.positions(h, w), []
        for block in self.blocks:
            if attention:
                x, seen = attend(block, x)
                weights.append(seen)
            else:
                x = block(x)
        patches = x[:, classes:].transpose(1, 2).unflatten(2, (h, w))
        return x[:, :classes], torch.stack(weights) if attention else None, patches

    def at_least_a_patch(self, image: Tensor) -> Tensor:
        """`image`, sides shorter than a patch stretched to one."""
        size = [max(side, self.patch) for side in image.shape[-2:]]
        if size == list(image.shape[-2:]):
            return image
        return F.interpolate(image, size=size, mode="bilinear", align_corners=False)

    def positions(self, h: int, w: int) -> Tensor:
        """(1, C + h w, d): position embeddings of the class tokens and of a grid of h x w patches."""
        if (h, w) == (self.grid, self.grid):
            return self.pos_embed
        classes = self.cls_token.shape[1]
        grid = self.pos_embed[:, classes:].transpose(1, 2).unflatten(2, (self.grid, self.grid))
        size = None if self.position_offset else (h, w)
        factors = [(n + self.position_offset) / self.grid for n in (h, w)] if self.position_offset else None
        stretched = F.interpolate(grid, size=size, scale_factor=factors, mode="bicubic", align_corners=False)
        return torch.cat([self.pos_embed[:, :classes], stretched.flatten(2).transpose(1, 2)], dim=1)

    def load_deit(self, state: Mapping[str, Tensor]) -> None:
        """Load weights of a ViT with one class token, which every class's token starts from.

        Raises:
            UserError: keys or shapes are not this network's.
        """
        given = {key: value for key, value in state.items() if not key.startswith(UNUSED)}
        classes = self.cls_token.shape[1]
        if {"cls_token", "pos_embed"} <= set(given) and given["cls_token"].shape[1] == 1:
            position, patches = given["pos_embed"].split([1, given["pos_embed"].shape[1] - 1], dim=1)
            given["pos_embed"] = torch.cat([position.expand(-1, classes, -1), patches], dim=1)
            given["cls_token"] = given["cls_token"].expand(-1, classes, -1)
        load_pretrained(self, given)


def attend(block: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """A block's output (B, T, d), and its attention (B, T, T), averaged over heads: what timm's fused kernel does not give."""
    assert isinstance(block, Block) and isinstance(block.attn, Attention)  # as ClassTokenViT makes them
    attention = block.attn
    size = len(x), x.shape[1], 3, attention.num_heads, attention.head_dim
    q, k, v = attention.qkv(block.norm1(x)).reshape(size).permute(2, 0, 3, 1, 4)
    weights = ((q * attention.scale) @ k.transpose(-2, -1)).float().softmax(-1)
    mixed = (weights.to(v.dtype) @ v).transpose(1, 2).flatten(2)
    x = x + block.drop_path1(attention.proj(mixed))
    return x + block.drop_path2(block.mlp(block.norm2(x))), weights.mean(1)
