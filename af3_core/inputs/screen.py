"""Screens: what to put together, said in a few lines of YAML.

A `Screen` is lazy. It knows how many complexes it stands for and how large they are
from the lengths of chains alone, decides by a stated budget whether they may be
computed, and only then writes out one job after another. `docs/screens.md` is the
language as users read it; `screen.schema.json` is its schema, for editors as well.
"""

import functools
import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, combinations_with_replacement, product
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64
from numpy import ndarray

from af3_core.inputs.entry import Entry
from af3_core.inputs.molecules import Molecule, bonds_between, shuffle
from af3_core.inputs.partners import Partner, partner_of
from af3_core.inputs.pools import Design, design_pools
from af3_core.inputs.rules import MAX_NAME_LENGTH
from af3_core.inputs.yaml_document import YamlDocument
from af3_core.job import (
    BondAtom,
    InputError,
    Job,
    Ligand,
    Polymer,
    ScreenChain,
    ScreenPlace,
    chain_id_at,
)

DEFAULT_LIMIT = 200_000
"""Jobs of a screen that states no budget; more are refused, with their number."""
DEFAULT_POOL_TOKENS = 5000
"""Tokens of a pool: the largest that Todor et al. (doi:10.1038/s44320-026-00189-7)
tried, and their best."""

type Kind = Literal["asked", "background"]
type Role = Literal["bait", "prey", "any"]
Seconds = Callable[[Float[ndarray, "n"]], Float[ndarray, "n"]]
"""Device time of one job of one seed by its tokens."""

_NAME_LENGTH = MAX_NAME_LENGTH - 60
_NO_COMPLEX = "something to put together: this screen stands for no complex"


@dataclass(frozen=True)
class PairBlock:
    """Pairs of any partner of one set with any of another."""

    left: Bool[ndarray, "n"]
    right: Bool[ndarray, "n"]
    with_self: bool


@dataclass(frozen=True)
class WideBlock:
    """Complexes of three or more: one of each group, or any `size` of one group."""

    groups: tuple[tuple[int, ...], ...]
    size: int
    with_self: bool

    def members(self) -> Iterator[tuple[int, ...]]:
        """Partners of each complex, in order; some may come twice."""
        if len(self.groups) == 1:
            choose = combinations_with_replacement if self.with_self else combinations
            return iter(choose(self.groups[0], self.size))
        return (tuple(sorted(found)) for found in product(*self.groups))

    @property
    def num_complexes(self) -> int:
        """How many there are, or, of groups that overlap, at most."""
        if len(self.groups) == 1:
            n = len(self.groups[0])
            return math.comb(n + self.size - 1 if self.with_self else n, self.size)
        return math.prod(map(len, self.groups))


@dataclass(frozen=True)
class Budget:
    """How much may be computed, and what to do with a screen that needs more."""

    complexes: int | None = None
    gpu_hours: float | None = None
    over: Literal["refuse", "sample"] = "refuse"


@dataclass(frozen=True)
class Tally:
    """How many complexes a screen stands for, and how large they are."""

    num_complexes: int
    by_tokens: Float[ndarray, "t"]
    """Complexes of each number of tokens."""

    def seconds(self, cost: Seconds) -> float:
        """Device time of all, one seed each."""
        sizes = np.flatnonzero(self.by_tokens)
        return float(self.by_tokens[sizes] @ cost(sizes.astype(float)))

    def larger_than(self, tokens: int) -> int:
        """How many have more tokens."""
        return round(float(self.by_tokens[tokens + 1 :].sum()))


@dataclass(frozen=True)
class Chosen:
    """Complexes that are computed, and in one sentence how they were chosen."""

    num_jobs: int
    tally: Tally
    """Of the whole screen."""
    sentence: str
    pairs: Int[ndarray, "m 2"] | None = None
    """Those of the sample; None for all."""
    wide: tuple[tuple[int, ...], ...] | None = None
    design: Design | None = None


@dataclass(frozen=True)
class BondEnd:
    """An atom of every molecule of this content."""

    digest: str
    residue: int
    atom: str


@dataclass(frozen=True)
class Screen:
    """A request: partners and what to make of them."""

    name: str
    document: YamlDocument
    partners: tuple[Partner, ...]
    """Different in content, sorted by label."""
    aliases: Mapping[str, tuple[str, ...]]
    """By label of a partner those of others with the same content."""
    roles: tuple[Role, ...]
    pairs: tuple[PairBlock, ...]
    wide: tuple[WideBlock, ...]
    listed: tuple[tuple[str | None, tuple[int, ...]], ...]
    """Complexes that are named one by one, and their names, if given."""
    given: tuple[tuple[Job, int], ...]
    """Jobs that are written out already, and their tokens."""
    seeds: tuple[int, ...]
    bonds: tuple[tuple[BondEnd, BondEnd], ...]
    budget: Budget
    pool_tokens: int | None
    """None: one job for each complex."""
    pool_times: int
    background: int
    unrelated: tuple[Partner, ...]
    problems: tuple[InputError, ...]
    """Records of files that cannot be used."""

    @functools.cached_property
    def tokens(self) -> Int[ndarray, "n"]:
        """Of each partner."""
        return np.array([p.num_tokens for p in self.partners], np.int64)

    def wanted(self, index: int) -> Int[ndarray, "m"]:
        """Partners from `index` on that are to be paired with it."""
        mask = np.zeros(len(self.partners), bool)
        for block in self.pairs:
            if block.left[index]:
                mask |= block.right
            if block.right[index]:
                mask |= block.left
        if mask[index] and not any(
            block.with_self and block.left[index] and block.right[index]
            for block in self.pairs
        ):
            mask[index] = False
        mask[:index] = False
        return np.flatnonzero(mask)

    @functools.cached_property
    def tally(self) -> Tally:
        """Counts the complexes by size, from lengths alone."""
        largest = int(self.tokens.max(initial=0))
        listed = {tuple(sorted(members)) for _, members in self.listed}
        widest = max([2, *(b.size for b in self.wide), *map(len, listed)])
        counts = np.zeros(widest * largest + 1)
        num_complexes = 0
        if self.pairs:
            for index in range(len(self.partners)):
                sizes = self.tokens[self.wanted(index)]
                num_complexes += len(sizes)
                row = np.bincount(sizes, minlength=largest + 1)
                counts[self.tokens[index] :][: largest + 1] += row
        for members in listed:
            if len(members) != 2 or members[1] not in self.wanted(members[0]):
                num_complexes += 1
                counts[self.tokens[list(members)].sum()] += 1
        for _, tokens in self.given:
            num_complexes += 1
            counts = np.pad(counts, (0, max(0, tokens + 1 - len(counts))))
            counts[tokens] += 1
        for block in self.wide:
            num_complexes += block.num_complexes
            sizes = _sizes_of(block, self.tokens)
            counts[: len(sizes)] += sizes
        return Tally(num_complexes, counts)

    def choose(self, cost: Seconds | None = None) -> Chosen:
        """Decides what is computed.

        Args:
            cost: device time by tokens; needed where the budget is in GPU hours.

        Raises:
            InputError: the screen needs more than its budget, and may not be sampled.
        """
        if not self.tally.num_complexes:
            raise self._at("pairs", "nothing").refuse(_NO_COMPLEX)
        if self.pool_tokens is not None:
            return self._choose_pools(cost)
        limit, reason = self._limit(cost)
        count = self.tally.num_complexes
        if count <= limit:
            sentence = f"all {count:,} complexes of the screen {self.name}"
            return Chosen(count, self.tally, sentence)
        if self.budget.over == "refuse":
            raise self._too_much(f"{count:,} complexes", cost, reason)
        return self._sample(limit, reason, cost)

    def _limit(self, cost: Seconds | None) -> tuple[int, str]:
        """How many complexes the budget allows, and its words for it."""
        limit = self.budget.complexes
        if self.budget.gpu_hours is None:
            if limit is None:
                return DEFAULT_LIMIT, f"{DEFAULT_LIMIT:,} jobs without a budget"
            return limit, f"a budget of {limit:,} jobs"
        reason = f"a budget of {self.budget.gpu_hours:,g} GPU hours"
        if cost is None:
            allowed = "a budget in complexes: what a job costs is not known here"
            raise self._at("budget", f"{self.budget.gpu_hours} GPU hours").refuse(
                allowed
            )
        mean = self.tally.seconds(cost) * len(self.seeds) / self.tally.num_complexes
        afford = int(3600 * self.budget.gpu_hours / max(mean, 1e-9))
        if limit is not None and limit < afford:
            return limit, f"a budget of {limit:,} jobs"
        return afford, reason

    def _too_much(self, found: str, cost: Seconds | None, reason: str) -> InputError:
        if cost is not None:
            hours = len(self.seeds) * self.tally.seconds(cost) / 3600
            found += f", about {hours:,.0f} GPU hours"
        allowed = (
            f"{reason}; state a larger one (budget: {{complexes: N}} or gpu_hours), "
            "compute part of it (over: sample), or use mode: pooled"
        )
        return self._at("budget", found).refuse(allowed)

    def _at(self, path: str, value: object, allowed: str = "") -> Entry:
        while path and path not in self.document.lines:
            path = {"budget": "pairs", "pairs": "all_against_all"}.get(path, "")
        return self.document.entry(path, value, allowed)

    def _choose_pools(self, cost: Seconds | None) -> Chosen:
        assert self.pool_tokens is not None
        design = design_pools(
            self.tokens,
            self._wanted_matrix(),
            most_tokens=self.pool_tokens,
            times=self.pool_times,
            keys=self._digests,
        )
        if design.too_large:
            i, j = design.too_large[0]
            labels = f"{self.partners[i].label} and {self.partners[j].label}"
            size = f"{labels}: {int(self.tokens[i] + self.tokens[j]):,} tokens"
            allowed = f"pairs that fit a pool of {self.pool_tokens:,} tokens"
            raise self._at("pools", size).refuse(allowed)
        further = len(self._self_pairs()) + len(self.listed) + len(self.given)
        count = len(design.pools) + further
        limit, reason = self._limit(cost) if self.budget.complexes else (count, "")
        if count > limit:
            raise self._too_much(f"{count:,} pools", None, reason)
        pairs = self.tally.num_complexes
        sentence = (
            f"{pairs:,} pairs of the screen {self.name} in {len(design.pools):,} pools"
            f" of at most {self.pool_tokens:,} tokens (at least {design.lower_bound:,}"
            " are needed)"
        )
        if cost is not None:
            sizes = [self.tokens[list(pool)].sum() for pool in design.pools]
            hours = len(self.seeds) * np.sum(cost(np.array(sizes, float))) / 3600
            apart = len(self.seeds) * self.tally.seconds(cost) / 3600
            sentence += f"; about {hours:,.1f} GPU hours, one by one {apart:,.1f}"
        return Chosen(count, self.tally, sentence, design=design)

    def _wanted_matrix(self) -> Bool[ndarray, "n n"]:
        matrix = np.zeros((len(self.partners),) * 2, bool)
        for index in range(len(self.partners)):
            matrix[index, self.wanted(index)] = True
        matrix |= matrix.T
        np.fill_diagonal(matrix, False)
        return matrix

    def _self_pairs(self) -> list[int]:
        return [i for i in range(len(self.partners)) if i in self.wanted(i)[:1]]

    @functools.cached_property
    def _digests(self) -> UInt64[ndarray, "n"]:
        """Numbers that depend on a partner's content alone."""
        found = [
            hashlib.sha256(json.dumps(partner.content).encode()).digest()[:8]
            for partner in self.partners
        ]
        return np.frombuffer(b"".join(found), "<u8").copy()

    def _sample(self, limit: int, reason: str, cost: Seconds | None) -> Chosen:
        """The complexes that come first by a digest of their content.

        Whatever is added to the screen, those of its sample stay near its front.
        """
        count, seconds = self.tally.num_complexes, None
        if self.budget.gpu_hours is not None and cost is not None:
            seconds = 3600 * self.budget.gpu_hours / len(self.seeds)
        stated = len(self.listed) + len(self.given)
        left = max(0, limit - stated)
        num_wide = sum(block.num_complexes for block in self.wide)
        num_pairs = max(0, count - num_wide - stated)
        share = round(left * num_pairs / max(1, num_pairs + num_wide))
        pairs = self._first_pairs(min(share, num_pairs), salt=1)
        if seconds is not None and cost is not None:
            sizes = self.tokens[pairs].sum(axis=1).astype(float)
            spent = np.cumsum(cost(sizes))
            part = seconds * share / max(1, left)
            pairs = pairs[: int(np.searchsorted(spent, part, side="right"))]
        wide = self._draw_wide(left - share)
        total = len(pairs) + len(wide) + stated
        sentence = (
            f"{total:,} of {count:,} complexes of the screen {self.name}, chosen by"
            f" their content, to keep to {reason}"
        )
        return Chosen(total, self.tally, sentence, pairs=pairs, wide=wide)

    def _first_pairs(self, number: int, salt: int) -> Int[ndarray, "m 2"]:
        """The `number` pairs with the smallest digests, smallest first."""
        total = max(1, self.tally.num_complexes)
        # Those below a cut are enough, but for a chance of less than one in a billion.
        enough = number + 6 * math.sqrt(number) + 20
        cut = min(1.0, enough / total)
        while True:
            found = [
                (np.full(len(others), index), others, digests)
                for index in range(len(self.partners))
                for others, digests in [self._digests_below(index, cut, salt)]
                if len(others)
            ]
            if sum(len(part[0]) for part in found) >= number or cut == 1.0:
                break
            cut = min(1.0, 2 * cut)
        if not found or not number:
            return np.zeros((0, 2), np.int64)
        first, second, digests = map(np.concatenate, zip(*found, strict=True))
        order = np.lexsort((second, first, digests))[:number]
        return np.stack([first[order], second[order]], axis=1)

    def _digests_below(
        self, index: int, cut: float, salt: int
    ) -> tuple[Int[ndarray, "m"], UInt64[ndarray, "m"]]:
        others = self.wanted(index)
        digests = _mix(self._digests[index] + self._digests[others] + np.uint64(salt))
        if cut < 1.0:
            near = digests < np.uint64(int(cut * 2**64))
            others, digests = others[near], digests[near]
        return others, digests

    def _draw_wide(self, number: int) -> tuple[tuple[int, ...], ...]:
        drawn: dict[tuple[int, ...], None] = {}
        total = sum(block.num_complexes for block in self.wide)
        for block in self.wide:
            share = round(number * block.num_complexes / max(1, total))
            random = np.random.default_rng(int(self._digests.sum()) % 2**63)
            for _ in range(20 * share):
                if len(drawn) >= share:
                    break
                groups = block.groups
                if len(groups) == 1:
                    group = groups[0]
                    chosen = random.choice(
                        len(group), block.size, replace=block.with_self
                    )
                    members = tuple(sorted(group[i] for i in chosen))
                else:
                    members = tuple(
                        sorted(group[random.integers(len(group))] for group in groups)
                    )
                drawn.setdefault(members)
        return tuple(drawn)

    def jobs(self, chosen: Chosen | None = None) -> Iterator[Job]:
        """The jobs, one at a time: listed ones, larger ones, pairs, background."""
        chosen = chosen or self.choose()
        seen: set[object] = set()
        for name, members in self.listed:
            if self._is_new(members, seen):
                yield self._job(members, "asked", name)
        yield from (job for job, _ in self.given)
        if chosen.design is not None:
            yield from self._pool_jobs(chosen.design)
            return
        wide = chosen.wide
        if wide is None:
            wide = (m for block in self.wide for m in block.members())
        for members in wide:
            if self._is_new(members, seen):
                yield self._job(members, "asked")
        # Pairs of single molecules differ in content; others may be asked twice.
        is_plain = not seen and all(partner.is_single for partner in self.partners)
        for members in self._pair_members(chosen):
            if is_plain or self._is_new(members, seen):
                yield self._job(members, "asked")
        yield from self._background_jobs(seen)

    def _pair_members(self, chosen: Chosen) -> Iterator[tuple[int, ...]]:
        if chosen.pairs is not None:
            yield from ((int(i), int(j)) for i, j in chosen.pairs)
        elif self.pairs:
            for index in range(len(self.partners)):
                for other in self.wanted(index):
                    yield index, int(other)

    def _is_new(self, members: tuple[int, ...], seen: set[object]) -> bool:
        counts: dict[str, int] = {}
        for member in members:
            for digest, number in self.partners[member].content:
                counts[digest] = counts.get(digest, 0) + number
        key = tuple(sorted(counts.items()))
        is_new = key not in seen
        seen.add(key)
        return is_new

    def _pool_jobs(self, design: Design) -> Iterator[Job]:
        for pool in design.pools:
            partners = sorted((self.partners[i] for i in pool), key=lambda p: p.label)
            key = json.dumps(sorted(p.content for p in partners))
            digest = hashlib.sha256(key.encode()).hexdigest()[:10]
            yield self._job(tuple(pool), "asked", f"{self.name}_pool_{digest}")
        for index in self._self_pairs():
            yield self._job((index, index), "asked")

    def _background_jobs(self, seen: set[object]) -> Iterator[Job]:
        """Pairs asked for in which one protein is shuffled, or an unrelated one."""
        if not self.background:
            return
        base = [tuple(map(int, pair)) for pair in self._first_pairs(self.background, 2)]
        base += [members for _, members in self.listed if len(members) > 1]
        base = [members for members in base if self._replaceable(members) is not None]
        for number in range(self.background if base else 0):
            members = base[number % len(base)]
            place = self._replaceable(members)
            assert place is not None
            partners = [self.partners[member] for member in members]
            if self.unrelated:
                partners[place] = self.unrelated[number % len(self.unrelated)]
            else:
                terms = [
                    (shuffle(molecule, 1 + number // len(base)), copies)
                    for molecule, copies in partners[place].terms
                    if not molecule.is_ligand
                ]
                partners[place] = partner_of(terms)
            roles: list[Role] = [self.roles[member] for member in members]
            yield self._assemble(partners, roles, "background")

    def _replaceable(self, members: Sequence[int]) -> int | None:
        """The partner that a background pair exchanges: a prey before a bait."""
        places = [
            place
            for place, member in enumerate(members)
            if not self.partners[member].is_ligand
        ]
        preys = [place for place in places if self.roles[members[place]] == "prey"]
        return (preys or places or [None])[-1]

    def _job(
        self, members: tuple[int, ...], kind: Kind, name: str | None = None
    ) -> Job:
        partners = [self.partners[member] for member in members]
        return self._assemble(partners, [self.roles[m] for m in members], kind, name)

    def _assemble(
        self,
        partners: Sequence[Partner],
        roles: Sequence[Role],
        kind: Kind,
        name: str | None = None,
    ) -> Job:
        """One job of partners, whose order decides nothing: chains of polymers
        come first, then ligands, by label."""
        keys = [(partner.is_ligand, partner.label) for partner in partners]
        order = sorted(range(len(partners)), key=keys.__getitem__)
        molecules: dict[str, Molecule] = {}
        owners: dict[str, list[int]] = {}
        for place in order:
            for molecule, copies in partners[place].terms:
                molecules.setdefault(molecule.digest, molecule)
                owners.setdefault(molecule.digest, []).extend([place] * copies)
        entities: list[Polymer | Ligand] = []
        chains: list[ScreenChain] = []
        ids_of: dict[str, list[list[str]]] = {}
        bonds: list[tuple[BondAtom, BondAtom]] = []
        copies_seen = _copies(partners)
        num_chains = 0
        for digest, molecule in molecules.items():
            number = len(owners[digest])
            by_entity = []
            for entity in molecule.entities:
                ids = tuple(chain_id_at(num_chains + copy) for copy in range(number))
                num_chains += number
                by_entity.append(ids)
                entities.append(replace(entity, ids=ids, description=molecule.label))
                ligand = _ligand_text(entity)
                chains += [
                    ScreenChain(
                        chain_id,
                        partners[place].label,
                        copies_seen[place],
                        roles[place],
                        partners[place].num_tokens,
                        ligand,
                    )
                    for chain_id, place in zip(ids, owners[digest], strict=True)
                ]
            ids_of[digest] = [list(ids) for ids in zip(*by_entity, strict=True)]
            for ids in ids_of[digest]:
                bonds += bonds_between(molecule, ids)
        bonds += self._bonds_among(ids_of)
        if name is None:
            name = _complex_name([partners[place].label for place in order])
        return Job(
            *(name, self.seeds, tuple(entities), tuple(bonds)),
            record=name,
            place=ScreenPlace(self.name, kind, tuple(chains)),
        )

    def _bonds_among(
        self, ids_of: Mapping[str, list[list[str]]]
    ) -> Iterator[tuple[BondAtom, BondAtom]]:
        """Stated bonds: copy by copy where there are as many of both ends, else one."""
        for first, second in self.bonds:
            if first.digest in ids_of and second.digest in ids_of:
                copies = ids_of[first.digest], ids_of[second.digest]
                even = len(copies[0]) == len(copies[1])
                for ids_1, ids_2 in zip(*copies, strict=False):
                    yield (
                        BondAtom(ids_1[0], first.residue, first.atom),
                        BondAtom(ids_2[0], second.residue, second.atom),
                    )
                    if not even:
                        break


def _ligand_text(entity: Polymer | Ligand) -> str | None:
    if isinstance(entity, Polymer):
        return None
    if entity.smiles:
        return f"smiles:{entity.smiles}"
    return f"ccd:{' '.join(entity.codes)}"


def _copies(partners: Sequence[Partner]) -> list[int]:
    """0 for the first partner of a label, 1 for the second, …"""
    seen: dict[str, int] = {}
    found = []
    for partner in partners:
        found.append(seen.get(partner.label, 0))
        seen[partner.label] = found[-1] + 1
    return found


def _complex_name(labels: Sequence[str]) -> str:
    counts = Counter(labels)
    name = "__".join(f"{x}_x{n}" if n > 1 else x for x, n in counts.items())
    if len(name) <= _NAME_LENGTH:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{name[: _NAME_LENGTH - 13]}-{digest}"


def _mix(values: UInt64[ndarray, "n"]) -> UInt64[ndarray, "n"]:
    """Spreads 64-bit numbers evenly (the finaliser of SplitMix64)."""
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _sizes_of(block: WideBlock, tokens: Int[ndarray, "n"]) -> Float[ndarray, "t"]:
    """Complexes of a wide block by tokens, by multiplying polynomials of sizes."""
    if len(block.groups) != 1:
        sizes = np.ones(1)
        for group in block.groups:
            sizes = np.convolve(sizes, np.bincount(tokens[list(group)]).astype(float))
        return sizes
    group = block.groups[0]
    largest = int(tokens[list(group)].max())
    found = np.zeros((block.size + 1, block.size * largest + 1))
    found[0, 0] = 1
    for member in group:
        shift = int(tokens[member])
        # With repeats a member may be taken again: the rows are used as they change.
        rows = range(1, block.size + 1)
        for row in rows if block.with_self else reversed(rows):
            found[row, shift:] += found[row - 1, : found.shape[1] - shift]
    return found[block.size]
