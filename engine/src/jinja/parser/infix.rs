//! Operators between two operands.

use super::super::ast::{Comparison, Expr, Operator};
use super::super::lexer::Token;
use super::Parser;

impl Parser {
    /// The operator that is next.
    #[inline(never)]
    pub(super) fn operator(&self) -> Option<(Level, Infix)> {
        let comparison = |comparison| Some((Level::Comparison, Infix::Comparison(comparison)));
        let arithmetic = |level, operator| Some((level, Infix::Arithmetic(operator)));
        match self.peek() {
            Token::Name(word) => match &**word {
                "or" => Some((Level::Or, Infix::Other)),
                "and" => Some((Level::And, Infix::Other)),
                "in" => comparison(Comparison::In),
                "not" if matches!(self.peek_second(), Token::Name(word) if &**word == "in") => {
                    comparison(Comparison::NotIn)
                }
                _ => None,
            },
            Token::Operator(operator) => match *operator {
                "==" => comparison(Comparison::Equal),
                "!=" => comparison(Comparison::NotEqual),
                "<" => comparison(Comparison::Less),
                "<=" => comparison(Comparison::LessOrEqual),
                ">" => comparison(Comparison::Greater),
                ">=" => comparison(Comparison::GreaterOrEqual),
                "+" => arithmetic(Level::Sum, Operator::Add),
                "-" => arithmetic(Level::Sum, Operator::Subtract),
                "~" => Some((Level::Concat, Infix::Other)),
                "*" => arithmetic(Level::Product, Operator::Multiply),
                "/" => arithmetic(Level::Product, Operator::Divide),
                "//" => arithmetic(Level::Product, Operator::FloorDivide),
                "%" => arithmetic(Level::Product, Operator::Remainder),
                "**" => arithmetic(Level::Power, Operator::Power),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Precedences, the lowest first.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub(super) enum Level {
    Or,
    And,
    Not,
    Comparison,
    Sum,
    Concat,
    Product,
    Power,
}

impl Level {
    /// That of operands; `None` if they have no operators of their own.
    pub(super) fn next(self) -> Option<Level> {
        Some(match self {
            Level::Or => Level::And,
            Level::And => Level::Not,
            Level::Not => Level::Comparison,
            Level::Comparison => Level::Sum,
            Level::Sum => Level::Concat,
            Level::Concat => Level::Product,
            Level::Product => Level::Power,
            Level::Power => return None,
        })
    }
}

/// An operator between two operands.
pub(super) enum Infix {
    Comparison(Comparison),
    Arithmetic(Operator),
    /// The only one of its level.
    Other,
}

/// An expression of operands with operators of one level between them.
#[inline(never)]
pub(super) fn chain(level: Level, first: Expr, rest: Vec<(Infix, Expr)>) -> Expr {
    let (mut comparisons, mut arithmetic, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for (infix, operand) in rest {
        match infix {
            Infix::Comparison(comparison) => comparisons.push((comparison, operand)),
            Infix::Arithmetic(operator) => arithmetic.push((operator, operand)),
            Infix::Other => others.push(operand),
        }
    }
    match level {
        Level::Comparison => Expr::Compare(Box::new(first), comparisons),
        Level::Or | Level::And | Level::Concat => {
            others.insert(0, first);
            match level {
                Level::Or => Expr::Or(others),
                Level::And => Expr::And(others),
                _ => Expr::Concat(others),
            }
        }
        _ => Expr::Arithmetic(Box::new(first), arithmetic),
    }
}
