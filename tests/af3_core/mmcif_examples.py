"""Small template files, written atom by atom."""

from collections.abc import Mapping, Sequence

Atom = tuple[str, str, int, str]
"""Component, atom name, residue number, alternative location."""

BACKBONE = ("N", "CA", "C", "O")


def backbone(component: str, number: int, *side_chain: str) -> list[Atom]:
    """A residue without alternatives."""
    return [(component, name, number, ".") for name in (*BACKBONE, *side_chain)]


def template_mmcif(
    atoms: Sequence[Atom],
    *,
    sequence: Mapping[int, str] | None = None,
    occupancies: Sequence[float] | None = None,
    date: str | None = "2000-01-01",
    polymer_type: str = "polypeptide(L)",
    extra: str = "",
) -> str:
    """mmCIF text of one chain; atom i lies at (i, 0, 0).

    Author numbers are label numbers plus 100.

    Args:
        sequence: components by residue number, where some have no atoms.
        extra: rows to append to the atom table.
    """
    listed = sequence or {number: component for component, _, number, _ in atoms}
    scheme = "".join(
        f"A {number} {number + 100} . {component} A\n"
        for number, component in listed.items()
    )
    occupancies = occupancies or [1.0] * len(atoms)
    rows = "".join(
        f"{i} {name} {alternative} {component} A {number} {number + 100} ? "
        f"{float(i)} 0 0 {occupancy} 1\n"
        for i, ((component, name, number, alternative), occupancy) in enumerate(
            zip(atoms, occupancies, strict=True)
        )
    )
    revision = f"_pdbx_audit_revision_history.revision_date {date}\n" if date else ""
    return f"""data_test
_entry.id TEST
{revision}_entity.id 1
_entity.type polymer
_entity_poly.entity_id 1
_entity_poly.type {polymer_type}
_struct_asym.id A
_struct_asym.entity_id 1
loop_
_pdbx_poly_seq_scheme.asym_id
_pdbx_poly_seq_scheme.seq_id
_pdbx_poly_seq_scheme.pdb_seq_num
_pdbx_poly_seq_scheme.pdb_ins_code
_pdbx_poly_seq_scheme.mon_id
_pdbx_poly_seq_scheme.pdb_strand_id
{scheme}loop_
_atom_site.id
_atom_site.label_atom_id
_atom_site.label_alt_id
_atom_site.label_comp_id
_atom_site.label_asym_id
_atom_site.label_seq_id
_atom_site.auth_seq_id
_atom_site.pdbx_PDB_ins_code
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
_atom_site.occupancy
_atom_site.pdbx_PDB_model_num
{rows}{extra}"""
