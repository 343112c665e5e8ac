"""The Images API of OpenAI on Darkroom's jobs, for programs that use an OpenAI SDK."""
