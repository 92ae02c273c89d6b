"""How the primitives of a jaxpr act on the symmetries of their operands."""
