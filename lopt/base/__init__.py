"""For every folder: errors, checks, parts by name, files that are whole or absent, schedules."""

from lopt.base.errors import UserError
from lopt.base.parts import Parts, build, config, describe, user_function
from lopt.base.schedules import SCHEDULES
from lopt.base.user_defined import trust

__all__ = [
    "SCHEDULES",
    "Parts",
    "UserError",
    "build",
    "config",
    "describe",
    "trust",
    "user_function",
]
