"""The pages that people see: server-rendered, alive through the HTTP API of the same origin."""
