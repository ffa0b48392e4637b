"""Grading: submissions are collected, executed in a sandbox, judged in another, and told about in tables and pages.

Nothing is imported here, because the judge is a process of this package and has to start quickly.
"""
