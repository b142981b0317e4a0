"""Optimizers, with what changes the way in which they work."""

from __future__ import annotations

from typing import Any

__all__ = ["VARIANTS"]

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "SGD": [{"lr": 0.1, "momentum": 0.9}, {"momentum": 0.9, "weight_decay": 1e-3, "decay_all": True}],
    "Momentum": [{"momentum": 0.0}],
    "Adam": [{"betas": (0.0, 0.0)}, {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-2}],
    "Nesterov": [{"momentum": 0.0}],
    "RMSProp": [
        {"alpha": 0.0},
        {"centered": True, "eps": 1e-2},
        {"momentum": 0.9},
        {"momentum": 0.5, "centered": True, "alpha": 0.9},
    ],
    "NAdam": [{"momentum_decay": 0.1}],
    "RAdam": [{"betas": (0.9, 0.9)}],
    "Adan": [{"betas": (0.0, 0.0, 0.0)}, {"lr": 0.1, "betas": (0.5, 0.9, 0.8), "eps": 1e-2}],
    "AdamW": [{"weight_decay": 0.0}],
    "SOAP": [
        {"precondition_frequency": 1, "betas": (0.5, 0.9), "weight_decay": 0.0},
        {"precondition_frequency": 3, "max_precond_dim": 5, "shampoo_beta": 0.5},
    ],
    "Muon": [
        {"lr": 0.005, "adamw_lr_factor": 1.0, "weight_decay": 0.1},
        {"nesterov": False, "ns_steps": 2, "momentum": 0.0, "adjust_lr": "match_rms_adamw"},
    ],
    "LAMB": [{"weight_decay": 0.0}, {"betas": (0.5, 0.9), "eps": 1e-2, "adapt_all": True}],
    "ScheduleFreeSGD": [{"momentum": 0.0}, {"lr": 0.1, "momentum": 0.5, "r": 2.0}],
    "ScheduleFreeAdamW": [{"betas": (0.0, 0.0)}, {"betas": (0.5, 0.9), "eps": 1e-2, "r": 1.0, "weight_decay": 0.05}],
    "Prodigy": [
        {"betas": (0.0, 0.9), "d0": 0.1, "d_coef": 50.0},
        {"d0": 0.01, "d_coef": 200.0, "growth_rate": 1.1, "use_bias_correction": True, "safeguard_warmup": True},
    ],
}
