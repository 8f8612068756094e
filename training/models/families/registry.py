"""The model families by name. A new family is one module of this folder and one entry here; see family.py."""

from models.config import ModelConfig
from models.families.eta import ETA
from models.families.family import Family
from models.families.hstu.family import HSTU
from models.families.sdim import SDIM
from models.families.sim import SIM
from models.families.stca import STCA
from models.families.target import TARGET
from models.families.twin import TWIN
from models.ranker import Ranker

FAMILIES: dict[str, Family] = {family.name: family for family in (TARGET, SIM, SDIM, ETA, TWIN, STCA, HSTU)}


def family_of(model: Ranker) -> Family:
    return FAMILIES[model.config.family]


def create_full(config: ModelConfig) -> Ranker:
    """Returns a full model with new weights, from torch's random generator."""
    return FAMILIES[config.family].create(config)
