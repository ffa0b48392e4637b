"""What notebooks show: tables, trees and outcomes, each as a figure and as text. Imported by the course alone."""

from labkit.display.bars import Bar, Bars, bars
from labkit.display.chain_tree import ChainTree, chain_tree
from labkit.display.efuse_map import EfuseMap, efuse_map
from labkit.display.flash_map import FlashMap, Region, flash_map, partition_regions
from labkit.display.handshakes import Timeline, timeline
from labkit.display.outcomes import outcome_table
from labkit.display.sources import Call, side_by_side
from labkit.display.tables import Table
from labkit.display.theme import COLOURS

__all__ = [
    "COLOURS",
    "Bar",
    "Bars",
    "Call",
    "ChainTree",
    "EfuseMap",
    "FlashMap",
    "Region",
    "Table",
    "Timeline",
    "bars",
    "chain_tree",
    "efuse_map",
    "flash_map",
    "outcome_table",
    "partition_regions",
    "side_by_side",
    "timeline",
]
