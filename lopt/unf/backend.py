"""Which back end a program is for: what makes it fast on one may make it slow on another."""

from typing import Any

import jax


def on_cpu() -> bool:
    """Whether what is traced now is for the CPU: its default device is one.

    It is asked while tracing, so that one program is differentiated: with
    `jax.lax.platform_dependent`, gradients would keep the intermediate values of both. A program
    that runs elsewhere than on the default device is only slower.
    """
    device: Any = jax.config.jax_default_device  # type: ignore[attr-defined]
    platform = jax.default_backend() if device is None else getattr(device, "platform", device)
    return platform == "cpu"
