"""Rules that are networks over every parameter: universal neural functionals, and the paper's."""
