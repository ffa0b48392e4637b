"""The broker: Mosquitto's configuration, rules and log as data, and a launcher that leaves nothing behind."""

from labkit.broker.acl import DEVICE_ACL, Acl, Rule, decide
from labkit.broker.choice import find_mosquitto
from labkit.broker.config import BrokerConfig, Listener, mutual_tls
from labkit.broker.control import RunningBroker, attach, stop_all
from labkit.broker.launch import Broker, replacing
from labkit.broker.log import Event, parse_line
from labkit.broker.log_file import LogFile
from labkit.broker.mosquitto import Mosquitto, find_client, find_program

__all__ = [
    "DEVICE_ACL",
    "Acl",
    "Broker",
    "BrokerConfig",
    "Event",
    "Listener",
    "LogFile",
    "Mosquitto",
    "Rule",
    "RunningBroker",
    "attach",
    "decide",
    "find_client",
    "find_mosquitto",
    "find_program",
    "mutual_tls",
    "parse_line",
    "replacing",
    "stop_all",
]
