"""The frontends' REST surfaces over the same commands and queries. A dialect imports those and its own folder."""
