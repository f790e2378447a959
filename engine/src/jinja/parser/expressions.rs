//! Expressions, in the precedence of Jinja.

use super::super::ast::{Arguments, Comparison, Expr, Filter, Name, Operator, Postfix};
use super::super::error::Result;
use super::super::lexer::Token;
use super::Parser;

impl Parser {
    /// An expression.
    pub(super) fn expression(&mut self) -> Result<Expr> {
        self.deeper(|parser| {
            let mut value = parser.or()?;
            while parser.skip_word("if") {
                let condition = parser.or()?;
                let otherwise = if parser.skip_word("else") { Some(parser.expression()?) } else { None };
                value = Expr::If(Box::new((value, condition, otherwise)));
            }
            Ok(value)
        })
    }

    /// Expressions with commas between them are a tuple. `conditional` says whether they may contain `if`.
    pub(super) fn tuple(&mut self, conditional: bool) -> Result<Expr> {
        let item = |parser: &mut Self| {
            if conditional { parser.expression() } else { parser.deeper(Self::or) }
        };
        let first = item(self)?;
        if !matches!(self.peek(), Token::Operator(",")) {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.skip(",") {
            match self.peek() {
                Token::BlockEnd | Token::PrintEnd | Token::Operator(")") => break,
                _ => items.push(item(self)?),
            }
        }
        Ok(Expr::Tuple(items))
    }

    fn or(&mut self) -> Result<Expr> {
        let first = self.and()?;
        let mut items = vec![first];
        while self.skip_word("or") {
            items.push(self.and()?);
        }
        Ok(single(items, Expr::Or))
    }

    fn and(&mut self) -> Result<Expr> {
        let first = self.not()?;
        let mut items = vec![first];
        while self.skip_word("and") {
            items.push(self.not()?);
        }
        Ok(single(items, Expr::And))
    }

    fn not(&mut self) -> Result<Expr> {
        if self.skip_word("not") {
            return Ok(Expr::Not(Box::new(self.deeper(Self::not)?)));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expr> {
        let first = self.sum()?;
        let mut rest = Vec::new();
        loop {
            let comparison = match self.peek() {
                Token::Operator("==") => Comparison::Equal,
                Token::Operator("!=") => Comparison::NotEqual,
                Token::Operator("<") => Comparison::Less,
                Token::Operator("<=") => Comparison::LessOrEqual,
                Token::Operator(">") => Comparison::Greater,
                Token::Operator(">=") => Comparison::GreaterOrEqual,
                Token::Name(word) if &**word == "in" => Comparison::In,
                Token::Name(word) if &**word == "not" => match self.peek_second() {
                    Token::Name(word) if &**word == "in" => {
                        self.at += 1;
                        Comparison::NotIn
                    }
                    _ => break,
                },
                _ => break,
            };
            self.at += 1;
            rest.push((comparison, self.sum()?));
        }
        Ok(if rest.is_empty() { first } else { Expr::Compare(Box::new(first), rest) })
    }

    fn sum(&mut self) -> Result<Expr> {
        self.arithmetic(&[("+", Operator::Add), ("-", Operator::Subtract)], Self::concat)
    }

    fn concat(&mut self) -> Result<Expr> {
        let first = self.product()?;
        let mut items = vec![first];
        while self.skip("~") {
            items.push(self.product()?);
        }
        Ok(single(items, Expr::Concat))
    }

    fn product(&mut self) -> Result<Expr> {
        const OPERATORS: [(&str, Operator); 4] = [
            ("*", Operator::Multiply),
            ("/", Operator::Divide),
            ("//", Operator::FloorDivide),
            ("%", Operator::Remainder),
        ];
        self.arithmetic(&OPERATORS, Self::power)
    }

    fn power(&mut self) -> Result<Expr> {
        self.arithmetic(&[("**", Operator::Power)], |parser| parser.unary(true))
    }

    /// Operators of equal precedence with operands between them.
    fn arithmetic(
        &mut self,
        operators: &[(&str, Operator)],
        operand: impl Fn(&mut Self) -> Result<Expr>,
    ) -> Result<Expr> {
        let first = operand(self)?;
        let mut rest = Vec::new();
        while let Token::Operator(found) = *self.peek()
            && let Some(&(_, operator)) = operators.iter().find(|(name, _)| *name == found)
        {
            self.at += 1;
            rest.push((operator, operand(self)?));
        }
        Ok(if rest.is_empty() { first } else { Expr::Arithmetic(Box::new(first), rest) })
    }

    /// An operand with its sign and what follows it; filters and tests only if `filtered`.
    fn unary(&mut self, filtered: bool) -> Result<Expr> {
        let value = if self.skip("-") {
            Expr::Negative(Box::new(self.deeper(|parser| parser.unary(false))?))
        } else if self.skip("+") {
            Expr::Positive(Box::new(self.deeper(|parser| parser.unary(false))?))
        } else {
            self.primary()?
        };
        self.postfix(value, filtered)
    }

    fn primary(&mut self) -> Result<Expr> {
        match self.next() {
            Token::Name(name) => Ok(match &*name {
                "true" | "True" => Expr::Bool(true),
                "false" | "False" => Expr::Bool(false),
                "none" | "None" => Expr::None,
                _ => {
                    self.names.insert(Name::clone(&name));
                    Expr::Name(name)
                }
            }),
            Token::Str(mut text) => {
                while let Token::Str(more) = self.peek() {
                    text = format!("{text}{more}").into();
                    self.at += 1;
                }
                Ok(Expr::Str(text))
            }
            Token::Int(number) => Ok(Expr::Int(number)),
            Token::Float(number) => Ok(Expr::Float(number)),
            Token::Operator("(") => {
                if self.skip(")") {
                    return Ok(Expr::Tuple(Vec::new()));
                }
                let value = self.tuple(true)?;
                self.expect(")")?;
                Ok(value)
            }
            Token::Operator("[") => Ok(Expr::List(self.items("]")?)),
            Token::Operator("{") => {
                let mut fields = Vec::new();
                while !self.skip("}") {
                    if !fields.is_empty() {
                        self.expect(",")?;
                        if self.skip("}") {
                            break;
                        }
                    }
                    let key = self.expression()?;
                    self.expect(":")?;
                    fields.push((key, self.expression()?));
                }
                Ok(Expr::Map(fields))
            }
            _ => {
                self.at -= 1;
                self.unexpected()
            }
        }
    }

    /// Expressions with commas between them, up to `end`.
    fn items(&mut self, end: &str) -> Result<Vec<Expr>> {
        let mut items = Vec::new();
        while !self.skip(end) {
            if !items.is_empty() {
                self.expect(",")?;
                if self.skip(end) {
                    break;
                }
            }
            items.push(self.expression()?);
        }
        Ok(items)
    }

    /// What follows `value`: attributes, items and calls, then filters and tests if `filtered`.
    fn postfix(&mut self, value: Expr, filtered: bool) -> Result<Expr> {
        let mut rest = Vec::new();
        loop {
            match self.peek() {
                Token::Operator(".") => {
                    self.at += 1;
                    rest.push(match self.next() {
                        Token::Name(name) => Postfix::Attribute(name),
                        Token::Int(index) => Postfix::Item(Expr::Int(index)),
                        _ => {
                            self.at -= 1;
                            return self.unexpected();
                        }
                    });
                }
                Token::Operator("[") => {
                    self.at += 1;
                    rest.push(self.item()?);
                }
                Token::Operator("(") => {
                    self.at += 1;
                    rest.push(Postfix::Call(self.arguments()?));
                }
                _ => break,
            }
        }
        loop {
            match self.peek() {
                _ if !filtered => break,
                Token::Operator("|") => {
                    self.at += 1;
                    rest.push(Postfix::Filter(self.filter()?));
                }
                Token::Name(word) if &**word == "is" => {
                    self.at += 1;
                    rest.push(self.test()?);
                }
                Token::Operator("(") => {
                    self.at += 1;
                    rest.push(Postfix::Call(self.arguments()?));
                }
                _ => break,
            }
        }
        Ok(if rest.is_empty() { value } else { Expr::Postfix(Box::new(value), rest) })
    }

    /// An index or a slice, after the opening bracket.
    fn item(&mut self) -> Result<Postfix> {
        let mut parts = [None, None, None];
        let mut colons = 0;
        loop {
            if self.skip(":") {
                colons += 1;
                if colons > 2 {
                    return self.error("a slice has at most three parts");
                }
            } else if self.skip("]") {
                break;
            } else if parts[colons].is_none() {
                parts[colons] = Some(self.expression()?);
            } else {
                return self.unexpected();
            }
        }
        if colons > 0 {
            return Ok(Postfix::Slice(Box::new(parts)));
        }
        let [Some(index), ..] = parts else { return self.error("an index is missing") };
        Ok(Postfix::Item(index))
    }

    /// The arguments of a call, after the opening parenthesis.
    fn arguments(&mut self) -> Result<Arguments> {
        let mut arguments = Arguments::default();
        let mut first = true;
        while !self.skip(")") {
            if !first {
                self.expect(",")?;
                if self.skip(")") {
                    break;
                }
            }
            first = false;
            if self.skip("*") {
                arguments.list = Some(Box::new(self.expression()?));
            } else if self.skip("**") {
                arguments.map = Some(Box::new(self.expression()?));
            } else if let (Token::Name(name), Token::Operator("=")) = (self.peek(), self.peek_second()) {
                let name = Name::clone(name);
                self.at += 2;
                arguments.named.push((name, self.expression()?));
            } else if arguments.named.is_empty() && arguments.map.is_none() {
                arguments.positional.push(self.expression()?);
            } else {
                return self.error("a positional argument follows a named one");
            }
        }
        Ok(arguments)
    }

    /// A filter, after the `|`.
    pub(super) fn filter(&mut self) -> Result<Filter> {
        let name = self.dotted_name()?;
        let arguments = if self.skip("(") { self.arguments()? } else { Arguments::default() };
        Ok(Filter { name, arguments })
    }

    fn dotted_name(&mut self) -> Result<Name> {
        let mut name = self.name()?;
        while self.skip(".") {
            name = format!("{name}.{}", self.name()?).into();
        }
        Ok(name)
    }

    /// A test, after `is`.
    fn test(&mut self) -> Result<Postfix> {
        let negated = self.skip_word("not");
        let name = self.dotted_name()?;
        let begins_argument = match self.peek() {
            Token::Name(word) => !["else", "or", "and"].contains(&&**word),
            Token::Str(_) | Token::Int(_) | Token::Float(_) | Token::Operator("[" | "{") => true,
            _ => false,
        };
        let mut arguments = Arguments::default();
        if self.skip("(") {
            arguments = self.arguments()?;
        } else if begins_argument {
            if self.is_word("is") {
                return self.error("tests with `is` cannot be chained");
            }
            let value = self.primary()?;
            arguments.positional.push(self.postfix(value, false)?);
        }
        Ok(Postfix::Test(Filter { name, arguments }, negated))
    }
}

/// The only item, or what `several` makes of more.
fn single(mut items: Vec<Expr>, several: impl FnOnce(Vec<Expr>) -> Expr) -> Expr {
    match items.pop() {
        Some(only) if items.is_empty() => only,
        last => {
            items.extend(last);
            several(items)
        }
    }
}
