"""The science of Foldmill: from an input job to features, structures and scores.

Nothing here knows of files of a campaign, command lines or clusters; that is
`workflow`'s. Lengths are Å, angles radians, times seconds, memory bytes; anything
else carries a suffix. `*_index` is 0-based, dense and ours; `*_id` is somebody
else's name or number (`residue_id` = mmCIF `label_seq_id`, 1-based). `*_mask` is
True where a value is real.

Dimension letters of every array annotation:

    n tokens          a atoms (flat)      s MSA rows      t templates
    b samples         h heads             c channels      x=24 atom slots of a token
    w atom windows    q queries (32)      k keys (128)    e bonds
"""
