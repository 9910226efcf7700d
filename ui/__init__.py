"""The page: what a browser shows of a home. Nothing here imports torch, and tabs never import tabs."""
