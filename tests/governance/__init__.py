"""Governance: certificates, signed documents, consents, manifests, policies, the ledger, and the commands around
them.
"""
