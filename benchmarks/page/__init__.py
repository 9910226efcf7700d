"""The parts of benchmarks/ui.py: homes, the server and its writer, the browser, many clients, a peer, the report."""
