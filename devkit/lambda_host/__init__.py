"""AWS Lambda on one machine: AWS's own Python runtime, fed from an SQS queue and by a schedule."""
