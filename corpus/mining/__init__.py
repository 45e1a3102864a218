"""From git repositories, folders and archives to a corpus: files with their sites, in Parquet, and a manifest."""
