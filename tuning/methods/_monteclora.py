"""MonteCLoRA: while training, A is drawn around what is learned, as a mixture whose spread and weights are learned too; used as plain LoRA
(Seth et al. 2024, https://arxiv.org/abs/2411.04358).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.kinds import Frozen
from tuning.methods._lora_options import MontecloraConfig
from tuning.methods._lora_variant import Factors, Summed

SMALLEST, SMALL = 1e-3, 1e-6  # variances of A, and of the mixture's logits, are no smaller


class Sampler(nn.Module):
    """std_prior: (r,), logarithms of A's spread by rank; expert_weights_prior: (samples,), logarithms of a Dirichlet distribution's
    concentrations. The last draw: gaussian_var_prior (r, r), diagonal, and expert_weights (samples,).
    """

    gaussian_var_prior: Tensor
    expert_weights: Tensor

    def __init__(self, into: int, r: int, config: MontecloraConfig) -> None:
        super().__init__()
        self.into, self.r, self.config = into, r, config
        self.std_prior = nn.Parameter(torch.rand(r))
        self.expert_weights_prior = nn.Parameter(torch.rand(config.num_samples))
        self.register_buffer("gaussian_var_prior", torch.eye(r))
        self.register_buffer("expert_weights", torch.ones(config.num_samples) / config.num_samples)

    def forward(self) -> Tensor:
        """(in, r): what is added to Aᵀ for one step."""
        like, samples = self.std_prior, self.config.num_samples
        drawn = (
            torch.distributions.Chi2(float(self.r)).sample((self.r,)).to(like)
        )  # the diagonal of Wishart's distribution
        variance = ((2 * like).exp() * drawn).clamp(min=SMALLEST)
        noise = torch.randn(samples, self.into, self.r, device=like.device, dtype=like.dtype)
        logs = self.expert_weights_prior
        parts = (-logs).exp()
        spread = (parts * (1 - 2 / samples) + parts.sum() / samples**2).clamp(min=SMALL) + SMALL
        weights = (spread.sqrt() * torch.randn_like(logs) + logs - logs.mean()).softmax(-1)
        self.gaussian_var_prior, self.expert_weights = variance.diag(), weights
        return torch.einsum("n,nij->ij", weights, noise) * variance.sqrt() * self.config.sample_scaler

    def penalty(self) -> Tensor:
        """The divergence of what is learned from its prior, as PEFT has it, and how uneven the mixture is where `use_entropy`."""
        samples, r = self.config.num_samples, self.r
        learned = self.expert_weights_prior.exp()
        prior = torch.full_like(learned, self.config.dirichlet_prior)
        of_weights = (
            learned.sum().lgamma() - prior.sum().lgamma() + (learned.lgamma() - prior.lgamma()).sum()
            + ((learned - prior) * (learned.digamma() - learned.sum().digamma())).sum()
        )  # fmt: skip
        squares = (2 * self.std_prior).exp()
        of_spread = r / 2 * (squares.sum() - squares.log().sum() - r)
        variance = self.gaussian_var_prior.diagonal().clamp(min=SMALL)
        of_noise = samples / 2 * (self.gaussian_var_prior.clamp(min=SMALL).trace() - variance.log().sum() - r)
        found = self.config.kl_loss_weight * (of_weights + of_spread + of_noise)
        return found + (self.expert_weights**2).sum() if self.config.use_entropy else found


@final
class Monteclora(Summed):
    """x ↦ base(x) + scaling · B A x; in training B (A + noise) x."""

    def __init__(self, lora: Factors, config: MontecloraConfig, frozen: Frozen) -> None:
        lora.lora_monteclora_sampler = Sampler(frozen.shape[1], len(lora.factors[0]), config)

    def added(self, lora: Factors, result: Tensor, x: Tensor, frozen: Frozen) -> Tensor:
        x = lora.lora_dropout(x)
        if not lora.training:
            return lora.low(x, frozen)
        a = lora.lora_A.weight + lora.lora_monteclora_sampler().T
        return lora.lora_B(functional.linear(x, a)) * lora.scaling


def regularisation(methods: Sequence[Any]) -> Tensor | None:
    """The mean over layers, in training."""
    found = [method.lora_monteclora_sampler.penalty() for method in methods if method.training]
    return torch.stack([each.to(found[0].device) for each in found]).mean() if found else None
