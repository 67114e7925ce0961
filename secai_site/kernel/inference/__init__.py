"""Text generation: an engine protocol, a llama.cpp worker process that speaks it, and a client.

Import from the modules: `protocol` (values and `Engine`), `errors`, `client.EngineClient`,
`isolated.isolated_engine`, `template.TemplateRenderer`, and for tests `echo.EchoEngine`. Only the worker
process loads llama.cpp.
"""
