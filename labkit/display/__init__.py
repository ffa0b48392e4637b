"""What notebooks show: tables, trees and outcomes, each as a figure and as text. Imported by the course alone."""

from labkit.display.bars import Bar, Bars, bars
from labkit.display.chain_tree import ChainTree, chain_tree
from labkit.display.data_flow import FlowDiagram, flow_diagram
from labkit.display.efuse_map import EfuseMap, efuse_map
from labkit.display.flash_map import FlashMap, Region, flash_map, partition_regions
from labkit.display.handshakes import Timeline, timeline
from labkit.display.live_view import LiveView
from labkit.display.outcomes import outcome_table
from labkit.display.reachability import Grid, reachability
from labkit.display.sources import Call, side_by_side
from labkit.display.state_lanes import Lane, StateLanes, state_lanes
from labkit.display.tables import Table
from labkit.display.theme import COLOURS
from labkit.display.zone_map import ZoneMap, zone_map

__all__ = [
    "COLOURS",
    "Bar",
    "Bars",
    "Call",
    "ChainTree",
    "EfuseMap",
    "FlashMap",
    "FlowDiagram",
    "Grid",
    "Lane",
    "LiveView",
    "Region",
    "StateLanes",
    "Table",
    "Timeline",
    "ZoneMap",
    "bars",
    "chain_tree",
    "efuse_map",
    "flash_map",
    "flow_diagram",
    "outcome_table",
    "partition_regions",
    "reachability",
    "side_by_side",
    "state_lanes",
    "timeline",
    "zone_map",
]
