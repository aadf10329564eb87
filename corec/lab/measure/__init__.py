"""Measurements that take an experiment of their own: each is a command,
``python -m corec.lab.measure.NAME``, and prints one document; the tables of ``docs/`` are from it.
"""
