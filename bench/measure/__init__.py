"""Shared by the measuring programs in this directory: systems under test, workloads, reports."""
