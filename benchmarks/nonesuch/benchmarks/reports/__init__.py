"""A result for people: tables, plots, a Markdown and an HTML report, and tables inside other documents."""
