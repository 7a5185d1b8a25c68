"""Counts of what follows contexts of tokens, as fixed tables that are looked up on any device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.precision import no_autocast

FACTOR = 0x5851F42D4C957F2D
"""Multiplier of the codes of contexts, which wrap around in 64 bits: two contexts in millions hardly ever share one."""
DISCOUNTS = (0.5, 1.0, 1.5)
"""Where there are too few counts to estimate them."""
MOST = 2**24
"""The most probabilities that are found at once."""


class NextTokenCounts(nn.Module):
    """Probabilities of what follows contexts of 0 to ``longest`` tokens: modified Kneser-Ney, interpolated.

    What follows is the next token, or another answer that is asked at each token. After a context h (Chen and Goodman
    1998, section 3, equation 26 and after),

        P_n(w | h) = (c(h w) - D(c(h w))) / N(h) + (sum_v D(c(h v))) / N(h) P_{n-1}(w | h'),

    where h' is h without its oldest token, N(h) = sum_w c(h w), and P_{-1} is uniform. For the longest h, c counts the
    places of training texts; for shorter ones, the different tokens that were seen before h w, of which each beginning
    of a text counts as one of its own. Counts of 1, 2, and 3 or more have a discount D of their own, by the numbers n_i
    of pairs that are counted i times: D(i) = i - (i + 1) Y n_{i+1} / n_i with Y = n_1 / (n_1 + 2 n_2). A context that
    was not counted says nothing: P_n = P_{n-1}.

    Args:
        vocab: number V of what may follow.
        longest: tokens of the longest context.
    """

    contexts: Tensor
    starts: Tensor
    followers: Tensor
    counts: Tensor
    discounts: Tensor
    frequent: Tensor

    def __init__(self, vocab: int, longest: int) -> None:
        super().__init__()
        self.vocab, self.longest = vocab, longest
        self.register_buffer("contexts", torch.zeros(0, dtype=torch.int64))
        """Codes of the contexts of 1 to ``longest`` tokens ``(C,)``, ascending."""
        self.register_buffer("starts", torch.zeros(1, dtype=torch.int64))
        """``(C + 1,)``: where the followers of each context begin."""
        self.register_buffer("followers", torch.zeros(0, dtype=torch.int32))
        self.register_buffer("counts", torch.zeros(0, dtype=torch.int32))
        self.register_buffer("discounts", torch.tensor((0.0, *DISCOUNTS)).repeat(longest + 1, 1))
        """Of each length of a context, for counts of 0 to 3 ``(longest + 1, 4)``."""
        self.register_buffer("frequent", torch.full((vocab,), 1 / vocab))
        """P_0 ``(V,)``."""

    @torch.no_grad()
    def fit(self, windows: Tensor, following: Tensor) -> None:
        """Count on places of training texts.

        Args:
            windows: (..., longest) int64, the last tokens up to each place, numbered from 1; 0 where there is none.
            following: (...,) int64, what follows, numbered from 1; 0 at places that do not count.
        """
        following = following.flatten()
        codes = [code.flatten() for code in self._codes(windows)]
        whole = self._whole(codes)
        found, places = [], following.new_zeros(0)
        for length in range(self.longest, -1, -1):
            places = torch.cat([places, ((whole == length) & (following > 0)).nonzero()[:, 0]])
            context = codes[length - 1][places] if length else torch.zeros_like(places)
            key = context * FACTOR + following[places]
            key, order = key.sort()
            counts = key.unique_consecutive(return_counts=True)[1]
            first = order[counts.cumsum(0) - counts]  # one for each pair
            self.discounts[length, 1:] = _discounts(counts)
            places, context = places[first], context[first]
            found.append((context, following[places] - 1, counts))
        _, tokens, counts = found.pop()
        taken = torch.minimum(self.discounts[0][counts.clamp_max(3)], counts)
        total = counts.sum().clamp_min(1)
        self.frequent.fill_(float(taken.sum() / total / self.vocab) if len(counts) else 1 / self.vocab)
        self.frequent[tokens] += (counts - taken) / total
        context, follower, count = (torch.cat(parts) for parts in zip(*found))
        context, order = context.sort(stable=True)
        contexts, sizes = context.unique_consecutive(return_counts=True)
        self.contexts = contexts.clone()  # else a view of as many as there are places
        self.starts = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
        self.followers, self.counts = follower[order].int(), count[order].int()

    def _codes(self, windows: Tensor) -> list[Tensor]:
        """Return, for each length 1 to ``longest``, the code (...,) of the context that ends windows; 0 for none."""
        code = torch.ones_like(windows[..., 0])
        found, whole = [], torch.ones_like(code, dtype=torch.bool)
        for token in windows.flip(-1).unbind(-1):
            whole = whole & (token > 0)
            code = code * FACTOR + token + 1
            found.append(torch.where(whole, code * FACTOR, 0))
        return found

    @staticmethod
    def _whole(codes: list[Tensor]) -> Tensor:
        """Return the number of tokens (N,) of the longest context that each place has, of its codes by length."""
        return torch.stack([code != 0 for code in codes]).sum(0)

    @torch.no_grad()
    def forward(self, windows: Tensor, following: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return what contexts tell of what follows.

        Args:
            windows: (..., longest) int64, the last tokens, numbered from 1; 0 where there is none.
            following: (...,) int64, what follows places that were counted, numbered from 1: the count of the very place
                is left out, but for P_0. It is that of its longest context here; in counting, a place may have had a
                longer one, and then at most too much is left out. P_0 is told where what follows is 0, not known.

        Returns:
            log P(w | h) (..., V), and log(1 + N(h)) (..., longest) for h of 1, 2, ... tokens, both float32.
        """
        shape = windows.shape[:-1]
        windows = windows.flatten(0, -2)
        following = None if following is None else following.flatten()
        told = windows.new_empty(len(windows), self.vocab, dtype=torch.float32)
        seen = windows.new_empty(len(windows), self.longest, dtype=torch.float32)
        rows = max(1, MOST // self.vocab)
        with no_autocast(windows):
            for start in range(0, len(windows), rows):
                here = slice(start, start + rows)
                after = None if following is None else following[here]
                told[here], seen[here] = self._told(windows[here], after)
        return told.view(*shape, self.vocab), seen.view(*shape, self.longest)

    def _told(self, windows: Tensor, following: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return what :meth:`forward` does for windows (N, longest)."""
        codes, own = self._codes(windows), None
        if following is not None:
            own = following - 1
            codes = [torch.where(own >= 0, code, 0) for code in codes]
        whole = self._whole(codes)
        lost = torch.zeros_like(
            whole, dtype=torch.float32
        )  # of the counts after a context, those of this very place
        looked = []
        for length in range(self.longest, 0, -1):
            row, token, count = self._followers(codes[length - 1])
            if own is not None:
                lost = torch.where(whole == length, 1.0, lost)
                mine = (token == own[row]).float() * lost[row]
                count = count - mine
                lost = torch.zeros_like(lost).index_add_(0, row, mine * (count == 0))
            looked.append((row, token, count))
        p, seen = self.frequent.float().repeat(len(windows), 1), []
        for discounts, (row, token, count) in zip(self.discounts[1:].float(), reversed(looked)):
            taken = torch.minimum(discounts[count.clamp_max(3).long()], count)
            total, rest = p.new_zeros(2, len(p)).index_add_(1, row, torch.stack([count, taken]))
            seen.append(total.log1p())
            share = 1 / total.clamp_min(1)
            p.mul_(torch.where(total > 0, rest * share, 1)[:, None])
            p.index_put_((row, token), (count - taken) * share[row], accumulate=True)
        return p.log_(), torch.stack(seen, -1)

    def _followers(self, code: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what followed the contexts with these codes (N,): the row of each, the token and the count (E,)."""
        if not len(self.contexts):
            none = code.new_zeros(0)
            return none, none, none.float()
        place = torch.searchsorted(self.contexts, code).clamp_max(len(self.contexts) - 1)
        known = (self.contexts[place] == code) & (code != 0)
        begin = self.starts[place]
        sizes = torch.where(known, self.starts[place + 1] - begin, 0)
        row = torch.arange(len(code), device=code.device).repeat_interleave(sizes)
        entry = torch.arange(len(row), device=code.device) + (begin + sizes - sizes.cumsum(0))[row]
        return row, self.followers[entry].long(), self.counts[entry].float()

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Take tables of other sizes, as they are fitted."""
        for name in ("contexts", "starts", "followers", "counts"):
            if (held := state.get(prefix + name)) is not None:
                setattr(self, name, torch.empty_like(held, device=self.starts.device))
        super()._load_from_state_dict(state, prefix, *rest)


def token_windows(numbers: Tensor, width: int, before: Tensor | None = None) -> Tensor:
    """Return the last ``width`` tokens up to each ``(B, T, width)`` of tokens ``(B, T)``.

    Args:
        before: (B, width - 1), the tokens before; by default none, which is 0.
    """
    if before is None:
        before = numbers.new_zeros(len(numbers), width - 1)
    found = torch.cat([before, numbers], 1)
    return found.unfold(1, width, 1) if numbers.shape[1] else found.new_zeros(len(numbers), 0, width)


def _discounts(counts: Tensor) -> Tensor:
    """Return the discounts (3,) of counts of 1, 2, and 3 or more, for pairs that are counted so often (E,)."""
    numbers = torch.bincount(counts.clamp_max(5), minlength=6)[1:5].double()
    if not bool((numbers > 0).all()):
        return torch.tensor(DISCOUNTS)
    share = numbers[0] / (numbers[0] + 2 * numbers[1])
    places = torch.arange(1, 4, dtype=torch.float64)
    found = places - (places + 1) * share * numbers[1:] / numbers[:-1]
    return found.clamp(torch.full_like(places, 0.05), places).float()
