"""The files of the page: a template, and a script that fetches what it shows."""
