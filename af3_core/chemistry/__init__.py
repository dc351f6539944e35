"""Components, molecules and conformers: what residues and ligands are made of."""
