"""The threat model of the course's plant: data that the lessons attack, close, and audit."""

from labkit.threats.attack_trees import MIRAI, TREES, Node
from labkit.threats.catalogue import DISMISSALS, THREATS
from labkit.threats.model import (
    CLIENT_KNOWN,
    ENCRYPTED,
    SERVER_KNOWN,
    Boundary,
    DataFlow,
    Element,
    Kind,
    Model,
    Stride,
)
from labkit.threats.owasp import AUDIT_ITEMS, ROWS, Row
from labkit.threats.patching import HABITS, Exposure, Habit, exposure, holes
from labkit.threats.plant import PLANT
from labkit.threats.register_file import load_register, save_register
from labkit.threats.risk import IMPACT, LIKELIHOOD, Level, Register, Risk, Treatment, reference, residual
from labkit.threats.stride import Threat, answers

__all__ = [
    "AUDIT_ITEMS",
    "CLIENT_KNOWN",
    "DISMISSALS",
    "ENCRYPTED",
    "HABITS",
    "IMPACT",
    "LIKELIHOOD",
    "MIRAI",
    "PLANT",
    "ROWS",
    "SERVER_KNOWN",
    "THREATS",
    "TREES",
    "Boundary",
    "DataFlow",
    "Element",
    "Exposure",
    "Habit",
    "Kind",
    "Level",
    "Model",
    "Node",
    "Register",
    "Risk",
    "Row",
    "Stride",
    "Threat",
    "Treatment",
    "answers",
    "exposure",
    "holes",
    "load_register",
    "reference",
    "residual",
    "save_register",
]
