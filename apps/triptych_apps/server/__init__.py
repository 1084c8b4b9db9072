"""The HTTP server: bundles behind typed endpoints. It knows no vertical by name.

A request goes through `edge` (limits, deadlines, log), `access` (keys), `reading` (JSON or a form to a request of the
vertical), `batching` (what waits is answered together) and back. `launch` starts and stops it all.
"""
