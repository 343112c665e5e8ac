"""The cloud runtime: the same handler on AWS Lambda, fed by SQS."""
