"""Bounds of plain networks by compiled code."""
