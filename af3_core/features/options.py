"""What may be chosen about features; the defaults are AlphaFold 3's."""

from dataclasses import dataclass

from af3_core.chemistry.conformers import LIMITS, ConformerLimits
from af3_core.templates.structure import Positions


@dataclass(frozen=True)
class FeatureOptions:
    """Choices that change what the model reads of a job."""

    resolve_msa_overlaps: bool = True
    """Drop unpaired rows that stand among the chain's paired rows. Not if the unpaired
    alignments were paired by hand."""
    fix_standalone_glycans: bool = False
    """Keep O1 of sugars that are bonded to nothing, which training never saw."""
    template_positions: Positions = "alphafold3"
    """How a template's residues are counted to find their atoms."""
    conformers: ConformerLimits = LIMITS


AS_PUBLISHED = FeatureOptions()
"""AlphaFold 3's choices."""
