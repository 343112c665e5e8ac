"""An HTTP API of API Gateway on one machine: real HTTP in front of a Lambda function."""
