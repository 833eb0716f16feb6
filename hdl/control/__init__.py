"""What takes a layer through the machine: sequencer, addresses, datapath, counters."""
