"""What a configuration file may say, checked, as data; knows no torch and runs nothing."""

from __future__ import annotations

from deephochuli.config._read import CONFIG_NAME as CONFIG_NAME
from deephochuli.config._read import Config as Config
from deephochuli.config._read import find_config as find_config
from deephochuli.config._read import read_config as read_config
from deephochuli.config._values import AUTO as AUTO
from deephochuli.config._values import is_quantity as is_quantity
from deephochuli.config._values import is_schedule as is_schedule
from deephochuli.config._values import pattern_fault as pattern_fault
from deephochuli.config._write import config_schema as config_schema
from deephochuli.config._write import config_text as config_text

__all__ = [
    "AUTO",
    "CONFIG_NAME",
    "Config",
    "config_schema",
    "config_text",
    "find_config",
    "is_quantity",
    "is_schedule",
    "pattern_fault",
    "read_config",
]
