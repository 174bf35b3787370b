"""The checked model: what a workspace's files may say, as pydantic models over the located tree."""
