"""What the benchmarks share: options, processes, timing, tables, pictures and networks to measure with."""
