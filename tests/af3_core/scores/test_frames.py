import numpy as np

from af3_core.scores.frames import predicted_frames


def bent(degrees: float) -> np.ndarray:
    """Three atoms; the first two bonds of the middle one meet at this angle."""
    angle = np.radians(degrees)
    far = 1.2 * np.array([np.cos(angle), np.sin(angle), 0.0])
    return np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], far])


def frame_of_first(positions: np.ndarray) -> bool:
    asym_id = np.ones(len(positions), int)
    return bool(predicted_frames(positions, np.arange(len(positions)), asym_id)[0])


def test_an_atom_has_a_frame_unless_its_neighbours_are_in_line() -> None:
    # OpenFold3 0.5.0 and AF3 SI 4.3.2: 25 degrees from a straight line at least.
    found = [frame_of_first(bent(a)) for a in (10, 24, 26, 90, 154, 156, 180)]
    assert found == [False, False, True, True, True, False, False]


def test_neighbours_of_another_chain_do_not_count() -> None:
    positions = np.concatenate([bent(90), [[0.1, 0.1, 0.1], [0.2, 0.1, 0.0]]])
    token = np.arange(5)
    one_chain = predicted_frames(positions, token, np.array([1, 1, 1, 1, 1]))
    two_chains = predicted_frames(positions, token, np.array([1, 1, 1, 2, 2]))
    assert one_chain.tolist() == [True] * 5 or not one_chain.all()
    assert two_chains.tolist()[3:] == [False, False]  # two atoms make no frame


def test_tokens_of_several_atoms_always_have_a_frame() -> None:
    token = np.array([0, 0, 0, 1])
    asym_id = np.array([1, 2])
    positions = np.zeros((4, 3))
    assert predicted_frames(positions, token, asym_id).tolist() == [True, False]
