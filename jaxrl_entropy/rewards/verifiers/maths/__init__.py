"""Equality of mathematical answers: text -> tokens -> tree -> comparison."""
