/** The reference has two names for one reason, by whether something waits to be sent; we have one. */
export const reasons = { 'forced server close': 'forced close' };

export const differences = {};
