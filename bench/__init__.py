# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: `python -m bench [NAME…]` prints tables and writes JSON.

Every figure stands beside its floor (the CPU time of the public-key operations that one request
cannot do without, timed in the same run) or beside a peer doing the same work in the same run.
"""
