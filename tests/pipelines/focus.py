"""The columns that the FinOps Open Cost and Usage Specification (FOCUS) requires of every row."""

from __future__ import annotations

#: FOCUS 1.2: the columns of feature level "Mandatory", and whether a value may be null.
MANDATORY = {
    "BilledCost": False, "BillingAccountId": False, "BillingAccountName": True, "BillingCurrency": False,
    "BillingPeriodEnd": False, "BillingPeriodStart": False, "ChargeCategory": False, "ChargeClass": True,
    "ChargeDescription": True, "ChargePeriodEnd": False, "ChargePeriodStart": False, "ContractedCost": False,
    "EffectiveCost": False, "InvoiceIssuerName": False, "ListCost": False, "PricingQuantity": True,
    "PricingUnit": True, "ProviderName": False, "PublisherName": False, "ServiceCategory": False, "ServiceName": False,
}  # fmt: skip
