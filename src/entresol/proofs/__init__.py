"""Place of the dispute game's host side and of the proof systems: nothing is built yet.

The package is here so that the order of layers is checked with it.  Pure, as the layers below;
may import rollup, machine, kernel and crypto.
"""
