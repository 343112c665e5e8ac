"""Everything on one machine: embedded servers, both runtimes as processes, parity."""
