"""The paper's optimizers, as its authors' published code has them."""

from lopt.base.errors import UserError, suggest
from lopt.rules.unf.rule import UNFRule

NETWORKS = {
    "deep_sets": ("pointwise",) * 4,
    "hybrid": ("pointwise", "pointwise", "pointwise", "exact"),
    "exact": ("exact",) * 5,
}
"""The kinds of the layers of each network."""

CHANNELS = 32
"""After each layer but the last."""


def univ_nfn(network: str = "hybrid", beta: float = 1e-4) -> UNFRule:
    r"""The learned optimizers of Zhou, Finn & Harrison (NeurIPS 2024, arXiv 2402.05232).

    It is `ResidualOpt` of google/learned_optimization, `research/univ_nfn`, with the same function
    of theta, weights and gradients, which the tests compare with stored results of theirs. At step
    t = 0, 1, ..., with momenta :math:`m^\gamma \leftarrow \gamma m^\gamma + (1 - \gamma) g`
    that are not debiased,

    .. math:: p \leftarrow p - \alpha \, (m^{0.9} + \beta f_\theta(F, \tau_t)),

    where F has 8 channels, the weight, the gradient and six momenta, clipped to [-1, 1] and
    divided by the root of 1e-5 and their mean square over the tensor, channels included;
    :math:`\tau_t` has 11, :math:`\tanh(t / s - 1)` for s from 1 to 100,000. The learning rate
    :math:`\alpha` is 0.1 in their code. In their paper :math:`\alpha`, :math:`\beta`, from 0.001
    on, and the momentum's decay are meta-learned, which the code does not do.

    On an MLP the exact layer is that of the paper's `NFN_NP`, and "hybrid" its NFN optimizer.

    Args:
      network: "deep_sets", pointwise layers; "hybrid", what the paper calls UNF: three pointwise
        layers and an exact one; or "exact", five exact layers.
      beta: scale of what the network adds to the momentum.

    Raises:
      UserError: for another network.

    Example:
      >>> univ_nfn("deep_sets").layers
      ('pointwise', 'pointwise', 'pointwise', 'pointwise')
    """
    if network not in NETWORKS:
        raise UserError(f"univ_nfn: no network {network!r}; {suggest(str(network), NETWORKS)}")
    layers = NETWORKS[network]
    return UNFRule(
        layers=layers,
        widths=(CHANNELS,) * (len(layers) - 1),
        features=(
            "weight",
            "gradient",
            "momentum(decays=(0.1, 0.5, 0.9, 0.99, 0.999, 0.9999), debias=False)",
        ),
        nominal="momentum(decays=(0.9,), debias=False)",
        step=f"residual(beta={beta!r})",
        time_scales=(1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5),
        time="centred",
        normalization="whole_tensor",
        output_scale=1.0,
    )
