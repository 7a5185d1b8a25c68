"""The executable bibliography: every paper of the field that the library covers, and what proves it here.

>>> from anyformer_papers import find_paper
>>> find_paper("retnet").card().check()

A paper is a row of ``catalogue.json``; it is built when its card exists, the folder ``cards/<family>/<slug>``.
"""

from anyformer_papers.catalogue import Paper, catalogue, find_paper, papers_of

__all__ = ["Paper", "catalogue", "find_paper", "papers_of"]
