"""Who may ask what of whom, and the proof afterwards: certificates, signed documents, consents, policies and the audit
log.
"""
