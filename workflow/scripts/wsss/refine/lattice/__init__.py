"""The permutohedral lattice (Adams, Baek, Davis, 2010) and the mean field on it (Kraehenbuehl, Koltun, 2011), compiled by numba."""
